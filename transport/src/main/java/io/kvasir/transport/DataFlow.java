package io.kvasir.transport;

/**
 * Which way the bytes of this node's data streams go at the moment, so that a media driver that runs on the link's thread
 * looks seldom at the socket of the other way. There a message comes once for many datagrams, and each look that finds nothing
 * is a system call. Used by one thread.
 */
final class DataFlow {
    /** While bytes go the other way only, a socket that had nothing is looked at once in so many turns of the driver. */
    static final int SELDOM = 8;

    private boolean sent;
    private boolean received;
    private boolean onlySending;
    private boolean onlyReceiving;

    void sent() {
        sent = true;
    }

    void received() {
        received = true;
    }

    /** What went since the last call is what is assumed to go until the next. */
    void next() {
        onlySending = sent && !received;
        onlyReceiving = received && !sent;
        sent = false;
        received = false;
    }

    boolean onlySending() {
        return onlySending;
    }

    boolean onlyReceiving() {
        return onlyReceiving;
    }

    /** When one socket is looked at. */
    static final class Looks {
        private int left;

        /** Whether it is this turn. */
        boolean due(final boolean seldom) {
            if (seldom && left > 0) {
                left--;
                return false;
            }
            return true;
        }

        /** Where there was something there may be more: then the next turn looks again. */
        void looked(final boolean foundSomething) {
            left = foundSomething ? 0 : SELDOM - 1;
        }
    }
}
