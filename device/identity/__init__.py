"""Who this device is: enrolment by claim code, its certificate and key, renewal."""
