package io.kvasir.node.config;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * The user that this process runs as, also where the machine has no entry for it: in a container with a user number of its
 * own the JVM calls both its name and its home {@code ?}.
 */
public final class OwnUser {
    private static final String UNKNOWN = "?";

    private OwnUser() {}

    /** As the kernel's answers about connections name it too: without an entry its number. */
    public static String name() {
        return name(System.getProperty("user.name"), number());
    }

    static String name(final String property, final int uid) {
        return isKnown(property) ? property : Integer.toUnsignedString(uid);
    }

    /** Without an entry what HOME says, and without that a directory of its own below /var/tmp. */
    static Path home(final Map<String, String> environment) {
        return home(System.getProperty("user.home"), environment.getOrDefault("HOME", ""), name());
    }

    static Path home(final String property, final String variable, final String name) {
        if (isKnown(property)) {
            return Path.of(property);
        }
        return variable.startsWith("/") && !"/".equals(variable)
                ? Path.of(variable)
                : Path.of("/var/tmp/kvasir-" + name);
    }

    private static boolean isKnown(final String property) {
        return property != null && !property.isBlank() && !UNKNOWN.equals(property);
    }

    private static int number() {
        try {
            return (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        } catch (final IOException e) {
            throw new IllegalStateException("/proc does not tell this process's user", e);
        }
    }
}
