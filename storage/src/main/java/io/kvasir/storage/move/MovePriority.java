package io.kvasir.storage.move;

/** The first goes first: loads before stores, what somebody waits for before the rest. */
public enum MovePriority {
    /** A lookup waits for it. */
    LOAD(0),
    BACKGROUND_LOAD(1),
    /** Somebody waits for the space that it makes, or for its arrival. */
    STORE(2),
    BACKGROUND_STORE(3);

    /** Priorities have the levels from 0 to below this. */
    static final int LEVELS = 4;

    private final int level;

    MovePriority(final int level) {
        this.level = level;
    }

    int level() {
        return level;
    }

    public boolean isStore() {
        return isStore(level);
    }

    static boolean isStore(final int level) {
        return level >= STORE.level;
    }
}
