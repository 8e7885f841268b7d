package io.kvasir.storage.catalog;

/** An object that is kept until a time, in Unix milliseconds. */
public record Pin(long expiryUnixMs, int priority) {}
