package io.kvasir.node.cluster;

/** What a node's four ports are for, counted from the configured one. */
final class Ports {
    static final int MEMBERSHIP = 0;
    static final int DIRECTORY = 1;
    static final int LINK = 2;
    static final int PROBE = 3;

    private Ports() {}
}
