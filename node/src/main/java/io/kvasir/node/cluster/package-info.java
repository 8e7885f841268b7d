/**
 * Many nodes as one cache. {@link io.kvasir.node.cluster.Membership} knows who is there, through an Apache Ignite
 * instance that it starts and replaces; {@code directory} knows who has what; nothing here blocks the engine thread.
 */
package io.kvasir.node.cluster;
