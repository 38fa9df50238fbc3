"""The certificate authority, claims of new devices, and the HTTPS service they enrol at."""
