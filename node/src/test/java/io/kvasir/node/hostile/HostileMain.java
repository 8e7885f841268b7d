package io.kvasir.node.hostile;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * Hostile engines as a process: {@code SOCKET TOKEN SEED THREADS STRATEGY...}. Each thread runs one strategy after the other,
 * with sizes that follow from the seed, until the standard input ends. Every try is written before it begins, so that the
 * last lines say what was going on when a node ended; each try is made again by its strategy and its sizes.
 */
public final class HostileMain {
    /** Mostly short, and sometimes longer than a node lets a half frame or an unread answer stand. */
    private static final int SHORT_MS = 2_000;

    private static final int LONG_MS = 13_000;
    private static final int ONE_IN = 8;
    /** A node that is gone must not be asked thousands of times a second. */
    private static final long AFTER_END_NS = 10_000_000;

    /** All that do not damage their tenant. */
    private static final String ALL = "ALL";

    private HostileMain() {}

    public static void main(final String[] arguments) throws InterruptedException {
        final Path socket = Path.of(arguments[0]);
        final long seed = Long.parseLong(arguments[2]);
        final int threads = Integer.parseInt(arguments[3]);
        final List<Strategy> strategies = arguments[4].equals(ALL)
                ? Arrays.stream(Strategy.values())
                        .filter(each -> !each.damagesItsTenant())
                        .toList()
                : Arrays.stream(arguments, 4, arguments.length)
                        .map(Strategy::valueOf)
                        .toList();
        endWithInput();
        for (int i = 0; i < threads; i++) {
            final Random random = new Random(seed * 31 + i);
            Thread.ofPlatform().name("hostile-" + i).start(() -> run(socket, arguments[1], strategies, random));
        }
        Thread.currentThread().join();
    }

    private static void run(
            final Path socket, final String token, final List<Strategy> strategies, final Random random) {
        try {
            while (true) {
                final Strategy strategy = strategies.get(random.nextInt(strategies.size()));
                final Sizes sizes = Sizes.draw(random);
                final int ms = 100 + random.nextInt(random.nextInt(ONE_IN) == 0 ? LONG_MS : SHORT_MS);
                System.out.println(strategy + " " + ms + " ms " + sizes);
                attack(
                        new Target(socket, token, System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(ms)),
                        strategy,
                        sizes);
            }
        } catch (final RuntimeException | Error e) {
            // Hostile engines may not fail silently: the campaign takes this line for a violation.
            System.out.println("BROKEN " + e);
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    private static void attack(final Target target, final Strategy strategy, final Sizes sizes) {
        try {
            strategy.run(target, sizes);
        } catch (final IOException ended) {
            System.out.println("  ended: " + strategy + ": " + ended.getMessage());
            LockSupport.parkNanos(AFTER_END_NS);
        }
    }

    /** The process ends when the one that started it does. */
    static void endWithInput() {
        Thread.ofPlatform().daemon().name("input").start(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is ever sent.
                }
            } catch (final IOException e) {
                System.out.println("input: " + e.getMessage());
            }
            Runtime.getRuntime().halt(0);
        });
    }
}
