// SPDX-License-Identifier: GPL-2.0
// /proc/device-tree/system/linux,revision of a Raspberry Pi 3 Model B: without it gpiozero does not know its pins.

#include <linux/fs.h>
#include <linux/module.h>
#include <linux/proc_fs.h>

static const u8 revision[] = { 0x00, 0xa0, 0x20, 0x82 };

static ssize_t read_revision(struct file *file, char __user *to, size_t size, loff_t *at)
{
	return simple_read_from_buffer(to, size, at, revision, sizeof(revision));
}

static const struct proc_ops revision_ops = {
	.proc_read = read_revision,
	.proc_lseek = default_llseek,
};

static int __init pi_revision_init(void)
{
	struct proc_dir_entry *tree = proc_mkdir("device-tree", NULL);
	struct proc_dir_entry *system = tree ? proc_mkdir("system", tree) : NULL;

	if (system && proc_create("linux,revision", 0444, system, &revision_ops))
		return 0;
	remove_proc_subtree("device-tree", NULL);
	return -ENOMEM;
}

static void __exit pi_revision_exit(void)
{
	remove_proc_subtree("device-tree", NULL);
}

module_init(pi_revision_init);
module_exit(pi_revision_exit);
MODULE_LICENSE("GPL");
