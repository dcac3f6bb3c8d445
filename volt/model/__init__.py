"""Types and units shared by every room of the house; nothing here touches the machine."""
