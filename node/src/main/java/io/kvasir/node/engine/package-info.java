/**
 * The engine API's server: frames on a Unix domain socket, sessions, calls, waits and events. One thread owns all of it
 * and the object store; {@link io.kvasir.node.engine.EngineServer} is the door.
 */
package io.kvasir.node.engine;
