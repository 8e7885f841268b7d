package io.kvasir.transport;

/** Loads go before stores: a link sends what engines wait for first, and leaves a small share to the rest. */
public enum Priority {
    /** An engine waits for it. */
    LOAD,
    /** Copies, moves, hand-offs that nobody waits for yet. */
    STORE
}
