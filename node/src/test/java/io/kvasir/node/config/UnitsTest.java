package io.kvasir.node.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.AlphaChars;
import net.jqwik.api.constraints.LongRange;
import net.jqwik.api.constraints.StringLength;

class UnitsTest {
    @Property
    void sizesReadBackAsWritten(@ForAll @LongRange(min = 0) final long bytes) {
        assertEquals(bytes, ByteSize.parse(ByteSize.format(bytes)));
    }

    @Property
    void wholeUnitsAreWrittenWithTheirUnit(@ForAll @LongRange(min = 1, max = 1023) final long count) {
        assertEquals(count + "GiB", ByteSize.format(count << 30));
    }

    @Property
    void durationsReadBackAsWritten(@ForAll @LongRange(min = 0) final long nanos) {
        final Duration duration = Duration.ofNanos(nanos);
        assertEquals(duration, TimeSpan.parse(TimeSpan.format(duration)));
    }

    @Example
    void unitsMeanWhatPeopleMean() {
        assertEquals(8L << 30, ByteSize.parse("8GiB"));
        assertEquals(8L << 30, ByteSize.parse("8G"));
        assertEquals(8_000_000_000L, ByteSize.parse("8 GB"));
        assertEquals(3L << 19, ByteSize.parse("1.5MiB"));
        assertEquals(4096, ByteSize.parse("4096"));
        assertEquals(Duration.ofMillis(250), TimeSpan.parse("250ms"));
        assertEquals(Duration.ofMillis(1500), TimeSpan.parse("1.5s"));
    }

    @Example
    void whatIsNoSizeIsRefused() {
        for (final String text : List.of("", "GiB", "-1", "8Gi B", "8 gib", "1e3", "9000000TiB", "0.3B")) {
            assertThrows(IllegalArgumentException.class, () -> ByteSize.parse(text), text);
        }
        for (final String text : List.of("", "5", "ms", "-1s", "1 week", "9999999999h")) {
            assertThrows(IllegalArgumentException.class, () -> TimeSpan.parse(text), text);
        }
    }

    @Property
    void nearestOfAKnownNameIsItself(@ForAll @AlphaChars @StringLength(min = 1, max = 12) final String name) {
        final String lower = name.toLowerCase(java.util.Locale.ROOT);
        assertEquals(lower, Nearest.of(lower, List.of(lower + "x", lower, "zzzzzzzzzzzzzzz")));
    }

    @Property
    void editsAreSymmetricAndBounded(
            @ForAll @AlphaChars @StringLength(max = 12) final String a,
            @ForAll @AlphaChars @StringLength(max = 12) final String b) {
        final int edits = Nearest.edits(a, b);
        assertEquals(edits, Nearest.edits(b, a));
        assertTrue(edits <= Math.max(a.length(), b.length()));
        assertEquals(a.equals(b), edits == 0);
    }

    @Example
    void aSwapIsOneEdit() {
        assertEquals(1, Nearest.edits("capactiy", "capacity"));
    }
}
