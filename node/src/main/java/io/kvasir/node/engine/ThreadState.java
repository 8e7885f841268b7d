package io.kvasir.node.engine;

import java.io.IOException;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/**
 * What the kernel tells of one thread of this process (proc_pid_stat(5), schedstat), and how long garbage was collected.
 *
 * @param state R runs or waits for a processor, S sleeps, D waits for a device or a page
 * @param waitsIn the kernel's function that it sleeps in, where the kernel tells
 * @param majorFaults pages that had to be read from a device
 * @param queuedNs ready to run, and without a processor
 * @param deviceMs waited for a device, page-ins included
 */
record ThreadState(
        String state,
        String waitsIn,
        long minorFaults,
        long majorFaults,
        long ranNs,
        long queuedNs,
        long deviceMs,
        long collectedMs) {
    private static final int AFTER_NAME = 2;
    private static final int MINOR_FAULTS = 7;
    private static final int MAJOR_FAULTS = 9;
    /** In hundredths of a second. */
    private static final int DEVICE_TICKS = 39;

    private static final int KERNEL_FRAMES = 6;

    /** The number by which /proc knows the thread that calls. */
    static String currentTask() {
        try {
            return Files.readSymbolicLink(Path.of("/proc/thread-self"))
                    .getFileName()
                    .toString();
        } catch (final IOException none) {
            return "none";
        }
    }

    static ThreadState read(final String task) {
        final Path directory = Path.of("/proc/self/task", task);
        final String stat = text(directory.resolve("stat"));
        final String[] fields = stat.substring(Math.min(stat.length(), stat.lastIndexOf(')') + AFTER_NAME))
                .split(" ", -1);
        final String[] times = text(directory.resolve("schedstat")).split(" ", -1);
        long collected = 0;
        for (final GarbageCollectorMXBean each : ManagementFactory.getGarbageCollectorMXBeans()) {
            collected += each.getCollectionTime();
        }
        return new ThreadState(
                fields[0],
                waitsIn(directory),
                number(fields, MINOR_FAULTS),
                number(fields, MAJOR_FAULTS),
                number(times, 0),
                number(times, 1),
                10 * number(fields, DEVICE_TICKS),
                collected);
    }

    /** The kernel's stack where it may be read, else the function alone. */
    private static String waitsIn(final Path directory) {
        final String stack = text(directory.resolve("stack"));
        if (stack.isBlank()) {
            return text(directory.resolve("wchan"));
        }
        return String.join(
                " < ",
                stack.lines()
                        .limit(KERNEL_FRAMES)
                        .map(line -> line.replaceAll("^\\[<[^>]*>] |\\+.*", ""))
                        .toList());
    }

    /** For people: where it is now, and what came since an earlier state. */
    String since(final ThreadState before) {
        return "%s in [%s]; %d major and %d minor faults, ran %d ms, without a processor %d ms, for devices %d ms; garbage %d ms"
                .formatted(
                        state,
                        waitsIn,
                        majorFaults - before.majorFaults,
                        minorFaults - before.minorFaults,
                        TimeUnit.NANOSECONDS.toMillis(ranNs - before.ranNs),
                        TimeUnit.NANOSECONDS.toMillis(queuedNs - before.queuedNs),
                        deviceMs - before.deviceMs,
                        collectedMs - before.collectedMs);
    }

    private static long number(final String[] fields, final int index) {
        try {
            return index < fields.length ? Long.parseLong(fields[index].strip()) : 0;
        } catch (final NumberFormatException other) {
            return 0;
        }
    }

    private static String text(final Path file) {
        try {
            return new String(Files.readAllBytes(file), StandardCharsets.UTF_8).strip();
        } catch (final IOException | SecurityException none) {
            return "";
        }
    }
}
