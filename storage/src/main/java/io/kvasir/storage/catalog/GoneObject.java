package io.kvasir.storage.catalog;

/** The past of an object that was evicted: when it was last used, in Unix milliseconds, and how often. */
public record GoneObject(long lastUseUnixMs, int frequency) {}
