package io.kvasir.node.config;

import java.math.BigDecimal;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sizes as people write them: {@code 8GiB}, {@code 512MB}, {@code 4096}. K, M, G and T alone are binary. */
public final class ByteSize {
    private static final Pattern FORM = Pattern.compile("([0-9]+(?:\\.[0-9]+)?) ?([KMGT]i?B?|B)?");
    private static final Map<Character, Integer> POWERS = Map.of('K', 1, 'M', 2, 'G', 3, 'T', 4);
    private static final String[] UNITS = {"TiB", "GiB", "MiB", "KiB"};

    private ByteSize() {}

    /** Throws {@link IllegalArgumentException} for what is no size, no whole number of bytes, or above 2^63 - 1. */
    public static long parse(final String text) {
        final Matcher matcher = FORM.matcher(text.strip());
        if (!matcher.matches()) {
            throw new IllegalArgumentException("'" + text + "' is no size such as 512MiB, 8GiB or 4096");
        }
        final String unit = matcher.group(2) == null ? "B" : matcher.group(2);
        final int power = POWERS.getOrDefault(unit.charAt(0), 0);
        final boolean decimal = power > 0 && unit.length() == 2 && unit.charAt(1) == 'B';
        final BigDecimal factor = BigDecimal.valueOf(decimal ? 1000 : 1024).pow(power);
        try {
            return new BigDecimal(matcher.group(1)).multiply(factor).longValueExact();
        } catch (final ArithmeticException e) {
            throw new IllegalArgumentException(
                    "'" + text + "' is not a whole number of bytes below 2^63: " + e.getMessage(), e);
        }
    }

    /** The shortest form with a binary unit that says the same; {@link #parse} reads it. */
    public static String format(final long bytes) {
        for (int i = 0; i < UNITS.length; i++) {
            final long unit = 1L << (10 * (UNITS.length - i));
            if (bytes != 0 && bytes % unit == 0) {
                return bytes / unit + UNITS[i];
            }
        }
        return Long.toString(bytes);
    }

    /** Rounded to one decimal, for people only. */
    public static String human(final long bytes) {
        for (int i = 0; i < UNITS.length; i++) {
            final long unit = 1L << (10 * (UNITS.length - i));
            if (bytes >= unit) {
                return String.format(Locale.ROOT, "%.1f %s", (double) bytes / unit, UNITS[i]);
            }
        }
        return bytes + " B";
    }
}
