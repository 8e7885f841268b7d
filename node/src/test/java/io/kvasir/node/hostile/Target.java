package io.kvasir.node.hostile;

import java.nio.file.Path;

/**
 * The node that an action is aimed at, and when the action has to be over ({@code System.nanoTime}).
 *
 * @param token of the tenant as which it connects
 */
public record Target(Path socket, String token, long endNs) {
    public boolean isOver() {
        return System.nanoTime() - endNs >= 0;
    }

    /** The end, or a shorter time from now. */
    public long within(final long ns) {
        return Math.min(endNs, System.nanoTime() + ns);
    }
}
