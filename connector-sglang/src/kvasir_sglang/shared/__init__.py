"""What the storage and the linker both use; imports neither of them."""
