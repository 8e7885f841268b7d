/** One node's life. {@link io.kvasir.node.Node} starts and stops everything; nothing else does. */
package io.kvasir.node;
