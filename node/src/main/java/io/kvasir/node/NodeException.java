package io.kvasir.node;

/** A node cannot start; the message says what was found and what to do. */
public final class NodeException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public NodeException(final String message) {
        super(message);
    }

    public NodeException(final String message, final Throwable cause) {
        super(message, cause);
    }
}
