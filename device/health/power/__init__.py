"""Where the power comes from: readings of batteries and boards behind one contract, and what is told of them.

reading.py   PowerReading and the contract PowerSource
supply.py, chips.py, boards.py   the sources: the kernel's class, chips on an I2C bus, what boards measure themselves
i2c.py       an I2C bus of Linux, without a library
find.py      which of them this device has
drain.py     minutes left, from how the percentage falls
news.py      what is told, and when: pure
watch.py     the loop
"""
