package io.kvasir.node.engine;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Whether more threads of this machine want to run than it has processors, by {@code /proc/loadavg}: a look costs about
 * 2 us. Where there is no such file, there is never a crowd.
 */
final class Crowd {
    private static final Path RUNNING = Path.of("/proc/loadavg");
    private static final Path PROCESSORS = Path.of("/sys/devices/system/cpu/online");

    private final FileChannel running;
    private final int processors;
    private final ByteBuffer text = ByteBuffer.allocateDirect(128);

    private Crowd(final FileChannel running, final int processors) {
        this.running = running;
        this.processors = processors;
    }

    static Crowd ofThisMachine() {
        try {
            final int processors = count(Files.readString(PROCESSORS, StandardCharsets.US_ASCII));
            return new Crowd(FileChannel.open(RUNNING, StandardOpenOption.READ), processors);
        } catch (final IOException | NumberFormatException unknown) {
            return new Crowd(null, Integer.MAX_VALUE);
        }
    }

    /** Counts the calling thread, too. */
    boolean isThere() {
        if (running == null) {
            return false;
        }
        try {
            text.clear();
            running.read(text, 0);
            return running(text.flip()) > processors;
        } catch (final IOException gone) {
            return false;
        }
    }

    /** Of {@code "0.20 0.18 0.12 3/80 11206"}, 3; 0 of anything else. */
    static int running(final ByteBuffer loadavg) {
        int at = 0;
        for (int spaces = 0; at < loadavg.limit() && spaces < 3; at++) {
            if (loadavg.get(at) == ' ') {
                spaces++;
            }
        }
        int number = 0;
        for (; at < loadavg.limit() && Character.isDigit(loadavg.get(at)); at++) {
            number = 10 * number + loadavg.get(at) - '0';
        }
        return number;
    }

    /** Of {@code "0-3,8-9"}, 6. */
    static int count(final String online) {
        int processors = 0;
        for (final String range : online.strip().split(",", -1)) {
            final int dash = range.indexOf('-');
            processors += dash < 0
                    ? 1
                    : Integer.parseInt(range.substring(dash + 1)) - Integer.parseInt(range.substring(0, dash)) + 1;
        }
        return processors;
    }
}
