package io.kvasir.node;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;
import org.agrona.concurrent.NanoClock;

/** Names of users, remembered for a minute, so that a name service is asked rarely; any thread. */
final class UserNames {
    private static final long KEPT_NS = TimeUnit.MINUTES.toNanos(1);
    /** Beyond it all are asked for anew. */
    private static final int MOST = 1024;

    private record Known(String name, long untilNs) {}

    private final IntFunction<String> accounts;
    private final NanoClock clock;
    private final Map<Integer, Known> known = new ConcurrentHashMap<>();

    UserNames(final IntFunction<String> accounts, final NanoClock clock) {
        this.accounts = accounts;
        this.clock = clock;
    }

    boolean isKnown(final int uid) {
        final Known name = known.get(uid);
        return name != null && clock.nanoTime() - name.untilNs < 0;
    }

    /** Asks when it is not known. A user that was known keeps its name while the name service fails. */
    String of(final int uid) {
        final Known before = known.get(uid);
        if (before != null && clock.nanoTime() - before.untilNs < 0) {
            return before.name;
        }
        String name;
        try {
            name = accounts.apply(uid);
        } catch (final IllegalStateException failure) {
            if (before == null) {
                throw failure;
            }
            name = before.name;
        }
        if (known.size() >= MOST) {
            known.clear();
        }
        known.put(uid, new Known(name, clock.nanoTime() + KEPT_NS));
        return name;
    }
}
