package io.kvasir.storage.move;

/** A device or link with a budget of its own. */
public enum Channel {
    SSD
}
