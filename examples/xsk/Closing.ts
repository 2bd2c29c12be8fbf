/** Sockets that are closed: what becomes of their frames, and of the rings that others share with them. */
import * as Pool from "./Pool.ts"
import * as Ring from "./Ring.ts"
import type { Socket } from "./Socket.ts"
import * as Umem from "./Umem.ts"

/**
 * Before a socket's mappings and descriptor go: what lies in its rx ring goes back. Frames that it was about to send, or that still
 * arrive, come back with the queue's last socket: until then the kernel may use them.
 */
export const close = (
  socket: Socket,
  bound: Umem.Bound,
  mappings: Pool.PoolMappings | undefined
): void => {
  const { pool, rx, umem } = socket
  socket.isClosed = true
  umem.bound.delete(bound)
  const isLast = ![...umem.bound].some((each) => each.pool === pool)
  if (!isLast && rx !== undefined && socket.broken === undefined) returnReceived(socket, rx)
  if (mappings !== undefined) Pool.removeMappings(pool, mappings, isLast)
  const sending = umem.holders[socket.sending]
  if (sending?.count === 0) Pool.forget(pool, socket.sending)
  else if (sending !== undefined) sending.isOver = true
  if (isLast) dissolve(pool)
  // What has come back is for the others to receive into.
  else Pool.refill(pool)
}

/** Takes a queue away when its last socket is closed, whichever that is, and all frames back that it has. */
export const dissolve = (pool: Pool.Pool): void => {
  const { umem } = pool
  if (umem.pools.get(pool.key) !== pool || [...umem.bound].some((each) => each.pool === pool)) return
  umem.pools.delete(pool.key)
  for (const { completion, fill, keeping } of pool.mappings.splice(0)) {
    if (!keeping.kept) continue
    umem.system.unmap(completion)
    umem.system.unmap(fill)
  }
  Umem.reclaimFrom(umem, new Set([pool.receiving, ...pool.sending]))
}

const returnReceived = ({ pool, umem }: Socket, rx: Ring.Ring): void => {
  const holder = umem.holders[pool.receiving]
  const first = rx.cachedConsumer
  const count = Ring.peek(rx, rx.size)
  for (let i = 0; i < count; i++) {
    const index = (first + i) >>> 0
    const frame = Umem.frameOf(umem, Ring.addressOf(rx, index) + (umem.unaligned ? Ring.offsetOf(rx, index) : 0))
    if (frame < umem.frames && umem.owners[frame] === pool.receiving && holder !== undefined) {
      holder.count--
      Umem.giveFrame(umem, frame)
    }
  }
}
