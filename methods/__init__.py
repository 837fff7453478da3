"""What is compared: one folder a family, one file a method."""
