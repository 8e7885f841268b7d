package io.kvasir.node.engine;

/** Why a connection was ended or a call failed through no rule of the schema; the `reason` label of the metric. */
enum Fault {
    /** A frame that is no Request. */
    UNDECODABLE_FRAME,
    /** A frame of length 0 or above the limit. */
    FRAME_LENGTH,
    /** The connection ended inside a frame. */
    TRUNCATED_FRAME,
    /** A frame stayed half sent for longer than the stall limit. */
    SLOW_FRAME,
    /** Half-sent frames of all connections together reached their limit. */
    FRAME_MEMORY,
    /** Answers stayed unread for longer than the stall limit. */
    SLOW_READER,
    /** Unread answers reached their limit. */
    OUTPUT_LIMIT,
    /** No Hello within the stall limit. */
    NO_HELLO,
    /** The process that said Hello is dead or gave its lock up, and somebody keeps its socket open. */
    PROCESS_ENDED,
    CONNECTION_LIMIT,
    /** A tenant has as many connections as it may. */
    TENANT_CONNECTION_LIMIT,
    /** The kernel refused to accept: no more file descriptors, most likely. */
    ACCEPT_FAILED,
    /** Reading or writing the socket failed. */
    SOCKET_ERROR,
    /** A defect of the node; the log has the trace. */
    INTERNAL
}
