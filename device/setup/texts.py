"""What the set-up says, and the tutorial. A failure says what to do next."""

from __future__ import annotations

HOLD_CODE = "Set-up. Hold the code before the camera, an arm's length away."
CODE_FOUND = "Code found."
JOINING = "Joining the network."
JOINED = "Network joined."
CALLING = "Looking for the server."
SERVER_FOUND = "Server found."
ENROLLED = "Enrolled."
FETCHING = "Fetching the model."
READY = "Ready."
CHANGING = "It is changed."
UNCHANGED = "Nothing was changed."
ENDED = "Set-up ended."
OTHER_SERVER = "This code is for another server or another name. To change, press short. To leave it, press long."

FOREIGN = "The code is not for waycue. Hold one that is."
TORN = "The code cannot be read. Hold it flat and still, a little nearer or farther."
SEVERAL = "Two codes are seen. Show only one."
BAD_NETWORK = "This kind of network cannot be joined. Ask for another one."
WRONG_PASSWORD = "Wrong network password. Ask for a new code."
NO_NETWORK = "The network is not found. Is it on? It is tried again."
NOT_JOINED = "The network cannot be joined. It is tried again."
CANNOT_JOIN = "This device cannot join networks by itself. Ask for help."
NO_SERVER = "No server found. Is it on, and in this network? It is tried again."
REFUSED = "The server did not take the code. It may have expired. Ask for a new one."
OTHER_NAME = "The code is for another device. Ask for one with its name."
BUSY = "The server is busy. It is asked again."
NO_STORAGE = "The card cannot be written. Ask for help. It is tried again."
NOT_ONLINE = "The server does not answer. Is it on? It is tried again."
NO_MODEL_YET = "The server has no model for this device. Ask for one."
STILL_FETCHING = "The model is still being fetched."

TUTORIAL = (
    "This is a short introduction. Press repeat to hear it again, or any other button to end it.",
    "The camera on your chest watches the way. You hear only what matters, in a few words.",
    "A warning begins with a sharp sound, and then: stop, wait, or caution.",
    "A soft sound comes before news about the device, such as a blocked camera or an empty battery.",
    "After a short press on the main button this moment is kept, and a sound answers.",
    "Hold the main button while you say what should have been said.",
    "The second button says the last guidance again. Held long, it mutes all but warnings.",
    "Silence does not mean that nothing is there. Not all things are seen.",
    "It never says when to change to the other side. It replaces neither your cane nor your dog.",
    "Begin in a place that you know, with a sighted companion.",
)
TUTORIAL_OVER = "This was the introduction. Press repeat to hear it again."
TUTORIAL_ENDED = "Introduction ended."

SETUP_TEXTS = (
    HOLD_CODE, CODE_FOUND, JOINING, JOINED, CALLING, SERVER_FOUND, ENROLLED, FETCHING, READY, CHANGING, UNCHANGED,
    ENDED, OTHER_SERVER, FOREIGN, TORN, SEVERAL, BAD_NETWORK, WRONG_PASSWORD, NO_NETWORK, NOT_JOINED, CANNOT_JOIN,
    NO_SERVER, REFUSED, OTHER_NAME, BUSY, NO_STORAGE, NOT_ONLINE, NO_MODEL_YET, STILL_FETCHING, *TUTORIAL,
    TUTORIAL_OVER, TUTORIAL_ENDED,
)  # fmt: skip
