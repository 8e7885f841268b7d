package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.Error;

/** Ends a call with an error answer. Has no stack trace: it is the engine's fault or the moment's, not a defect. */
final class CallException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final Error.Code code;

    CallException(final Error.Code code, final String message) {
        super(message, null, false, false);
        this.code = code;
    }

    static CallException invalid(final String message) {
        return new CallException(Error.Code.INVALID_ARGUMENT, message);
    }

    Error.Code code() {
        return code;
    }
}
