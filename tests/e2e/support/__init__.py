"""What the end-to-end tests share: the server under test, the people in front of it, the clients' homes."""
