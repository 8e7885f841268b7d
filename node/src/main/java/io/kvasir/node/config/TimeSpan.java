package io.kvasir.node.config;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Durations as people write them: {@code 250ms}, {@code 1.5s}, {@code 10m}. */
public final class TimeSpan {
    private static final Pattern FORM = Pattern.compile("([0-9]+(?:\\.[0-9]+)?) ?(ns|us|ms|s|m|h|d)");
    private static final Map<String, Long> NANOS = nanos();

    private TimeSpan() {}

    /** Throws {@link IllegalArgumentException} for what is no duration, or longer than 292 years. */
    public static Duration parse(final String text) {
        final Matcher matcher = FORM.matcher(text.strip());
        if (!matcher.matches()) {
            throw new IllegalArgumentException(
                    "'" + text + "' is no time with its unit, such as 50us, 250ms, 30s, 10m or 1h");
        }
        final BigDecimal nanos = new BigDecimal(matcher.group(1))
                .multiply(BigDecimal.valueOf(NANOS.get(matcher.group(2))))
                .setScale(0, RoundingMode.HALF_UP);
        try {
            return Duration.ofNanos(nanos.longValueExact());
        } catch (final ArithmeticException e) {
            throw new IllegalArgumentException("'" + text + "' is longer than 292 years", e);
        }
    }

    /** The form with the largest unit that says the same in whole numbers; {@link #parse} reads it. */
    public static String format(final Duration duration) {
        final long nanos = duration.toNanos();
        for (final Map.Entry<String, Long> unit : NANOS.entrySet()) {
            if (nanos != 0 && nanos % unit.getValue() == 0) {
                return nanos / unit.getValue() + unit.getKey();
            }
        }
        return "0s";
    }

    private static Map<String, Long> nanos() {
        final Map<String, Long> nanos = new LinkedHashMap<>();
        nanos.put("d", 86_400_000_000_000L);
        nanos.put("h", 3_600_000_000_000L);
        nanos.put("m", 60_000_000_000L);
        nanos.put("s", 1_000_000_000L);
        nanos.put("ms", 1_000_000L);
        nanos.put("us", 1_000L);
        nanos.put("ns", 1L);
        return nanos;
    }
}
