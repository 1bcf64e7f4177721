"""The whole house at work: real server processes, and the client and CLI that people use."""
