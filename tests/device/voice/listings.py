"""What boards and desktops list as their sound outputs, as their owners published it."""

PI_4_CARDS = """ 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 1 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0
                      vc4-hdmi-0
 2 [vc4hdmi1       ]: vc4-hdmi - vc4-hdmi-1
                      vc4-hdmi-1
"""
PI_4_PCM = """00-00: bcm2835 Headphones : bcm2835 Headphones : playback 8
01-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
02-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
"""
PI_4_HDMI_FIRST_CARDS = """ 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0
                      vc4-hdmi-0
 1 [vc4hdmi1       ]: vc4-hdmi - vc4-hdmi-1
                      vc4-hdmi-1
 2 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
"""
PI_4_HDMI_FIRST_PCM = """00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
02-00: bcm2835 Headphones : bcm2835 Headphones : playback 8
"""
PI_5_CARDS = """ 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0
                      vc4-hdmi-0
 1 [vc4hdmi1       ]: vc4-hdmi - vc4-hdmi-1
                      vc4-hdmi-1
"""
PI_5_PCM = """00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
"""
PI_WITH_WEBCAM_AND_USB_CARDS = """ 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 1 [Webcam         ]: USB-Audio - Dynex 1.3MP Webcam
                      Dynex Dynex 1.3MP Webcam at usb-3f980000.usb-1.2.1, high speed
 2 [CODEC          ]: USB-Audio - USB Audio CODEC
                      Burr-Brown from TI USB Audio CODEC at usb-3f980000.usb-1.2.2, full speed
 3 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi
                      vc4-hdmi
"""
PI_WITH_WEBCAM_AND_USB_PCM = """00-00: bcm2835 Headphones : bcm2835 Headphones : playback 8
01-00: USB Audio : USB Audio : capture 1
02-00: USB Audio : USB Audio : playback 1 : capture 1
03-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
"""
PI_5_HIFIBERRY_CARDS = """ 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0
                      vc4-hdmi-0
 1 [vc4hdmi1       ]: vc4-hdmi - vc4-hdmi-1
                      vc4-hdmi-1
 2 [sndrpihifiberry]: HifiberryDacp - snd_rpi_hifiberry_dacplus
                      snd_rpi_hifiberry_dacplus
"""
PI_5_HIFIBERRY_PCM = """00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
02-00: HiFiBerry DAC+ HiFi pcm512x-hifi-0 : HiFiBerry DAC+ HiFi pcm512x-hifi-0 : playback 1
"""
JETSON_CARDS = """ 0 [HDA            ]: tegra-hda - NVIDIA Jetson Orin NX HDA
                      NVIDIA Jetson Orin NX HDA at 0x3518000 irq 119
 1 [APE            ]: tegra-ape - NVIDIA Jetson Orin NX APE
                      NVIDIA-NVIDIAJetsonOrinNXEngineeringReferenceDeveloperKitSupe-NVIDIAJ
"""
JETSON_PCM = """00-03: HDMI 0 : HDMI 0 : playback 1
00-07: HDMI 1 : HDMI 1 : playback 1
01-00: tegra-dlink-0 XBAR-ADMAIF1-0 :  : playback 1 : capture 1
01-01: tegra-dlink-1 XBAR-ADMAIF2-1 :  : playback 1 : capture 1
"""
DESKTOP_CARDS = """ 0 [PCH            ]: HDA-Intel - HDA Intel PCH
                      HDA Intel PCH at 0xf7610000 irq 33
"""
DESKTOP_PCM = """00-00: ALC269VC Analog : ALC269VC Analog : playback 1 : capture 1
00-03: HDMI 0 : HDMI 0 : playback 1
"""

_FORMAT = "PipeWire\ts32le 2ch 48000Hz"
DESKTOP_SINKS = (
    f"49\talsa_output.pci-0000_00_1b.0.analog-stereo\t{_FORMAT}\tSUSPENDED\n"
    f"50\talsa_output.pci-0000_00_03.0.hdmi-stereo\t{_FORMAT}\tSUSPENDED\n"
)
HEADSET_SINK = f"88\tbluez_output.38_18_4C_E9_85_B4.1\t{_FORMAT}\tRUNNING\n"
HEADSET_AS_PHONE_SINK = (
    "9\tbluez_sink.38_18_4C_E9_85_B4.handsfree_head_unit\tmodule-bluez5-device.c\ts16le 1ch 16000Hz\tIDLE\n"
)
PI_5_SINKS = f"52\talsa_output.platform-107c701400.hdmi.hdmi-stereo\t{_FORMAT}\tSUSPENDED\n"
USB_SINK = f"60\talsa_output.usb-C-Media_Electronics_Inc._USB_Audio_Device-00.analog-stereo\t{_FORMAT}\tIDLE\n"
NO_CARD_SINKS = "1\tauto_null\tmodule-null-sink.c\ts16le 2ch 44100Hz\tIDLE\n"

PACTL_LISTS = {
    "sink": """Sink #3
	State: SUSPENDED
	Name: alsa_output.platform.hdmi
	Description: HDMI
	Mute: yes
	Volume: front-left: 0 /   0% / -inf dB,   front-right: 0 /   0% / -inf dB
	Balance: 0.00
	Properties:
		device.description = "HDMI"

Sink #7
	State: RUNNING
	Name: {name}
	Description: Mute: yes
	Mute: {0}
	Volume: front-left: 0 /   0% / -inf dB,   front-right: 52428 /  {1}% / -5.81 dB
	Balance: 0.00
	Base Volume: 65536 / 100% / 0.00 dB
	Monitor Source: {name}.monitor
""",
    "sink-input": """Sink Input #12
	Driver: protocol-native.c
	Sink: 7
	Mute: yes
	Volume: mono: 0 /   0% / -inf dB
	Properties:
		application.name = "Player"
		application.process.id = "{anothers}"

Sink Input #13
	Driver: protocol-native.c
	Sink: 7
	Corked: no
	Mute: {0}
	Volume: mono: 65536 / {1}% / 0.00 dB
	Balance: 0.00
	Properties:
		application.name = "ALSA plug-in [python3.11]"
		application.process.id = "{mine}"

Sink Input #14
	Sink: 7
	Mute: no
	Volume: (invalid)
	Properties:
		media.name = "loopback"
""",
}
"""By kind, as pactl 16 writes them: {0} is the mute and {1} the percents of one."""
