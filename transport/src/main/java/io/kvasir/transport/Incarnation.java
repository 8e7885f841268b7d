package io.kvasir.transport;

/** The random 128-bit number that a node draws at each start; what names another one is void. */
public record Incarnation(long high, long low) {
    @Override
    public String toString() {
        return "%016x%016x".formatted(high, low);
    }
}
