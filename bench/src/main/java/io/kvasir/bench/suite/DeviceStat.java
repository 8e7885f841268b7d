package io.kvasir.bench.suite;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the kernel counts: bytes that the device under a directory wrote, whoever asked for them. */
final class DeviceStat {
    private static final int SECTORS_WRITTEN = 6;
    private final Path stat;

    DeviceStat(final Path directory) throws IOException {
        final long device = ((Number) Files.getAttribute(directory, "unix:dev")).longValue();
        final long major = (device >>> 8) & 0xfff;
        final long minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
        this.stat = Path.of("/sys/dev/block/" + major + ":" + minor + "/stat");
    }

    long writtenBytes() throws IOException {
        return 512 * Long.parseLong(Files.readString(stat).strip().split("\\s+", -1)[SECTORS_WRITTEN]);
    }
}
