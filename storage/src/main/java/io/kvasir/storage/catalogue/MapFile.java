package io.kvasir.storage.catalogue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.LongAdder;
import net.openhft.chronicle.map.ChronicleMap;
import net.openhft.chronicle.map.ChronicleMapBuilder;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Opens one Chronicle Map's file, after a kill too; moves aside what is none, since what is in it can be lost. */
final class MapFile {
    private static final Logger LOG = LoggerFactory.getLogger(MapFile.class);
    /** Behind a checksum and a size word the file begins with the map's description in text. */
    private static final int HEADER_TEXT = 12;

    private static final byte[] TEXT = "!net.openhft.chronicle.".getBytes(StandardCharsets.US_ASCII);

    private MapFile() {}

    static <K, V> ChronicleMap<K, V> open(
            final ChronicleMapBuilder<K, V> builder, final Path file, final LongAdder damaged) throws IOException {
        if (Files.exists(file)) {
            // A file without a header would make Chronicle Map wait a minute for somebody to finish it.
            if (!hasHeader(file)) {
                moveAside(file, "it does not begin as a Chronicle Map does", damaged);
            } else {
                try {
                    return builder.recoverPersistedTo(file.toFile(), false);
                } catch (final IOException | RuntimeException | InternalError e) {
                    moveAside(file, e.toString(), damaged);
                }
            }
        }
        return builder.createPersistedTo(file.toFile());
    }

    private static boolean hasHeader(final Path file) throws IOException {
        final ByteBuffer begin = ByteBuffer.allocate(HEADER_TEXT + TEXT.length);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            int read;
            do {
                read = channel.read(begin);
            } while (read > 0 && begin.hasRemaining());
        }
        begin.flip();
        return begin.limit() == HEADER_TEXT + TEXT.length
                && begin.position(HEADER_TEXT).equals(ByteBuffer.wrap(TEXT));
    }

    private static void moveAside(final Path file, final String reason, final LongAdder damaged) throws IOException {
        damaged.increment();
        Path aside;
        int number = 0;
        do {
            aside = file.resolveSibling(file.getFileName() + ".damaged-" + ++number);
        } while (Files.exists(aside));
        Files.move(file, aside);
        LOG.error("catalogue: {} cannot be used ({}); it is kept as {} and begun anew", file, reason, aside);
    }
}
