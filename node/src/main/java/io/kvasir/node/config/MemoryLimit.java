package io.kvasir.node.config;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * The memory that the kernel lets this process and what it wrote to shared memory have: the lowest limit of its memory
 * cgroup, version 1 or 2, and of those above. More than that is not refused but ends in a kill.
 *
 * @param bytes of the limit
 * @param file where it stands
 */
public record MemoryLimit(long bytes, Path file) {
    /** Version 1 writes the largest number of whole pages where there is no limit. */
    private static final long NONE = 1L << 62;

    /** Empty: there is none, or it cannot be read. */
    public static Optional<MemoryLimit> current() {
        return of(Path.of("/"));
    }

    /** @param root of the file system; another one in tests */
    static Optional<MemoryLimit> of(final Path root) {
        Optional<MemoryLimit> lowest = Optional.empty();
        try {
            final List<String> mounts = Files.readAllLines(root.resolve("proc/self/mountinfo"));
            for (final String line : Files.readAllLines(root.resolve("proc/self/cgroup"))) {
                // hierarchy:controllers:path; version 2 names no controllers
                final String[] parts = line.split(":", 3);
                if (parts.length < 3) {
                    continue;
                }
                final boolean unified = "0".equals(parts[0]) && parts[1].isEmpty();
                if (!unified && !List.of(parts[1].split(",", -1)).contains("memory")) {
                    continue;
                }
                for (final String mount : mounts) {
                    lowest = lower(lowest, ofMount(root, mount, unified, parts[2]));
                }
            }
        } catch (final IOException unknown) {
            return lowest;
        }
        return lowest;
    }

    /** Mount line: {@code id parent device root point options ... - type source options}. */
    private static Optional<MemoryLimit> ofMount(
            final Path root, final String mount, final boolean unified, final String group) {
        final int middle = mount.indexOf(" - ");
        final String[] ahead = mount.split(" ", 6);
        if (middle < 0 || ahead.length < 6) {
            return Optional.empty();
        }
        final String[] after = mount.substring(middle + 3).split(" ", 3);
        final boolean right = unified
                ? "cgroup2".equals(after[0])
                : "cgroup".equals(after[0])
                        && after.length == 3
                        && List.of(after[2].split(",", -1)).contains("memory");
        if (!right) {
            return Optional.empty();
        }
        final Path point = root.resolve(ahead[4].substring(1)).normalize();
        // A container sees its own group as the mount's root, and may be told its path outside.
        final String below =
                "/".equals(ahead[3]) ? group : group.startsWith(ahead[3]) ? group.substring(ahead[3].length()) : "";
        Path at = point.resolve(below.replaceFirst("^/+", "")).normalize();
        if (!at.startsWith(point) || !Files.isDirectory(at)) {
            at = point;
        }
        Optional<MemoryLimit> lowest = Optional.empty();
        for (; at != null && at.startsWith(point); at = at.getParent()) {
            lowest = lower(lowest, read(at.resolve(unified ? "memory.max" : "memory.limit_in_bytes")));
        }
        return lowest;
    }

    private static Optional<MemoryLimit> read(final Path file) {
        try {
            final long bytes = Long.parseLong(Files.readString(file).strip());
            return bytes < NONE ? Optional.of(new MemoryLimit(bytes, file)) : Optional.empty();
        } catch (final IOException | NumberFormatException none) {
            // The root of version 2 has no such file, and "max" is no number.
            return Optional.empty();
        }
    }

    private static Optional<MemoryLimit> lower(final Optional<MemoryLimit> one, final Optional<MemoryLimit> other) {
        if (one.isEmpty() || other.isEmpty()) {
            return one.isEmpty() ? other : one;
        }
        return one.get().bytes <= other.get().bytes ? one : other;
    }
}
