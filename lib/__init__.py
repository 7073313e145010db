"""What the papers share, by subject. Import the subject: `from lib import kernels`."""
