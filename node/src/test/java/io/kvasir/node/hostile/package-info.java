/**
 * Engines that break every rule of the engine API, and one that keeps them all. {@code HostileEngineTest} runs both against
 * a node in its own process; {@code kvasir bench hostile} compiles this package without the tests and runs {@link
 * io.kvasir.node.hostile.HostileMain} and {@link io.kvasir.node.hostile.GoodMain} as processes of their own. So nothing
 * here uses more than the JDK, Protocol Buffers and the classes made from the schema.
 */
package io.kvasir.node.hostile;
