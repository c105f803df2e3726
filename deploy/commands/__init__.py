"""The verbs that join packages, one a file. The only code besides the command line that may."""
