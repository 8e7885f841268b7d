package io.kvasir.storage.catalog;

/**
 * What a namespace's 32 bytes stand for.
 *
 * @param fields readable, in the form in which the node wrote them
 */
public record NamespaceInfo(String tenant, byte[] fields) {}
