"""The verbs of the command line, in modules by what they do: each verb parses, calls one function and prints."""
