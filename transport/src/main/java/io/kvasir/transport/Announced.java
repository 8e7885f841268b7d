package io.kvasir.transport;

/**
 * A part of the list of objects of one transfer, as a Pull or Push message carries it.
 *
 * @param total objects of the whole transfer
 * @param first index of this part's first object
 */
record Announced(long transfer, long deadlineNs, Priority priority, int total, int first) {
    /** Throws LinkException unless this part, of {@code count} objects, lies inside the list. */
    void check(final String what, final int count) {
        if (total <= 0 || total > LinkContext.MAX_OBJECTS || first < 0 || count <= 0 || count > total - first) {
            throw new LinkException(what + " of objects " + first + " + " + count + " of " + total);
        }
    }
}
