package io.kvasir.bench.suite;

import com.fasterxml.jackson.annotation.JsonProperty;

/**
 * One line of a benchmark's result.
 *
 * @param reference the limit or peer that was measured in the same run; null when there is none
 * @param ratio {@code value / referenceValue}
 * @param met never true without a reference and a goal
 */
record BenchRecord(
        String id,
        String suite,
        String name,
        double value,
        String unit,
        String reference,
        @JsonProperty("reference_value") Double referenceValue,
        Double ratio,
        String goal,
        boolean met) {

    /** A rate that should come near its reference's. */
    static BenchRecord atLeast(
            final String id,
            final String name,
            final double value,
            final String unit,
            final String reference,
            final double referenceValue,
            final double leastRatio) {
        final double ratio = value / referenceValue;
        return new BenchRecord(
                id,
                "ssd",
                name,
                value,
                unit,
                reference,
                referenceValue,
                ratio,
                "ratio >= " + leastRatio,
                ratio >= leastRatio);
    }

    /** A cost with a limit of its own; the reference tells what the job costs without the tier. */
    static BenchRecord atMost(
            final String id,
            final String name,
            final double value,
            final String unit,
            final String reference,
            final double referenceValue,
            final double most) {
        return new BenchRecord(
                id,
                "ssd",
                name,
                value,
                unit,
                reference,
                referenceValue,
                value / referenceValue,
                "value <= " + most,
                value <= most);
    }
}
