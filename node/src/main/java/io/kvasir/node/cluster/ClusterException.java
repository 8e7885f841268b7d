package io.kvasir.node.cluster;

/** The cluster cannot be joined; the message is for the operator. */
final class ClusterException extends RuntimeException {
    ClusterException(final String message) {
        super(message);
    }
}
