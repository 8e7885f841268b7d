package io.kvasir.transport;

/** A setting or an argument that the link can't work with; the message says which, what it was and what it may be. */
public final class LinkException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public LinkException(final String message) {
        super(message);
    }
}
