/**
 * AF_XDP sockets: made, configured, bound to a queue of a device.
 *
 * Sockets of one umem share it by themselves. The first registers the memory with the kernel; one on a queue that another socket has
 * already uses that one's fill and completion rings, one on another queue or device has its own.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Abi from "./Abi.ts"
import { close, dissolve } from "./Closing.ts"
import * as Pool from "./Pool.ts"
import * as Resource from "./Resource.ts"
import * as Ring from "./Ring.ts"
import type { Mapping, SystemShape } from "./System.ts"
import * as Umem from "./Umem.ts"
import { badArgument, isXskError, refused, XskError } from "./XskError.ts"

/** Polling of the driver by who reads and sends, in place of interrupts. Linux 5.11. */
export interface BusyPoll {
  /** Microseconds that a call polls at most. */
  readonly microseconds: number
  /** Packets that a call takes at most; default 64. */
  readonly budget?: number
  /** Interrupts are put off while somebody polls; default true. */
  readonly prefer?: boolean
}

/** How a socket is made. */
export interface SocketOptions {
  /** The device, by its name or number. */
  readonly device: string | number
  /** The file of the network namespace that the device is in: `/run/netns/NAME`. Absent: this process's. */
  readonly netns?: string
  /** Default 0. */
  readonly queue?: number
  /** Entries of the rings, powers of two, default 2048. Without one of `rx` and `tx` (0) the socket does not receive, or send. */
  readonly rx?: number
  readonly tx?: number
  /** Of the first socket on a queue alone: the others use the same. */
  readonly fill?: number
  readonly completion?: number
  /** Frames that lie ready to receive into; default half of the umem's, no more than the fill ring has entries. */
  readonly receiveFrames?: number
  /** Absent: zero-copy where the driver has it, else copies. Another socket's where they share. */
  readonly mode?: "copy" | "zero-copy"
  /** The kernel says when it must be woken, so that it need not be woken every time; default true. Another socket's where they share. */
  readonly needWakeup?: boolean
  /** Packets may come in several frames (`more` in a batch). Linux 6.6; the program must take fragments. Another's where they share. */
  readonly multiBuffer?: boolean
  readonly busyPoll?: BusyPoll
  /**
   * Milliseconds for which a queue that is taken is tried again, default 250: the kernel takes a queue away from a socket that was closed
   * a little later, on busy machines seconds later.
   */
  readonly patience?: number
  /** Packets that the kernel sends in one call, in copy mode. Default of the kernel: 32. Linux 6.17. */
  readonly txBudget?: number
}

/** A socket that is bound. */
export interface Socket {
  readonly umem: Umem.Umem
  readonly fd: number
  readonly device: string
  readonly ifindex: number
  readonly queue: number
  readonly pool: Pool.Pool
  readonly rx: Ring.Ring | undefined
  readonly tx: Ring.Ring | undefined
  readonly needWakeup: boolean
  /** Whether packets may be in several frames. */
  readonly multiBuffer: boolean
  /** Place of the frames that it sends among the umem's holders. */
  readonly sending: number
  /** What the sharing was with: no other socket, one of another queue, or one of this queue. */
  readonly shares: "nothing" | "memory" | "queue"
  /** What is wrong with its own rings for good. */
  broken: XskError | undefined
  isClosed: boolean
}

const isRingSize = (size: number | undefined): boolean => size === undefined || size === 0 || Ring.isSize(size)

const check = (options: SocketOptions): XskError | undefined => {
  const { busyPoll, completion, device, fill, patience, queue = 0, receiveFrames, rx, tx, txBudget } = options
  for (const [name, size] of [["rx", rx], ["tx", tx], ["fill", fill], ["completion", completion]] as const) {
    if (!isRingSize(size) || (size === 0 && name !== "rx" && name !== "tx")) {
      return badArgument("socket", `a ${name} ring of ${size} entries`, "sizes are powers of two")
    }
  }
  if (rx === 0 && tx === 0) return badArgument("socket", "a socket without rings", "give it an rx ring, or a tx ring")
  if (!Number.isInteger(queue) || queue < 0 || queue > 0xffff_ffff) return badArgument("socket", `queue ${queue}`)
  const isDevice = typeof device === "string"
    ? device !== "" && device.length <= 15
    : Number.isInteger(device) && device > 0 && device <= 0x7fff_ffff
  if (!isDevice) {
    return badArgument("socket", `${device} is no device`, "names have up to 15 characters, numbers begin with 1")
  }
  for (const count of [receiveFrames, patience, txBudget, busyPoll?.microseconds, busyPoll?.budget]) {
    if (count !== undefined && !(Number.isInteger(count) && count >= 0 && count <= 0x7fff_ffff)) {
      return badArgument("socket", `${count} is no count`)
    }
  }
  return undefined
}

const u32 = (value: number): ArrayBuffer => Uint32Array.of(value).buffer

/** Steps of one socket, each of which throws where the kernel refuses it. */
const stepsOf = (system: SystemShape, place: { readonly device: string; readonly queue: number }) => {
  const ok = <A>(step: string, result: A | number): A => {
    if (typeof result === "number" && result < 0) throw refused(step, result, place)
    return result as A
  }
  return {
    ok,
    set: (fd: number, step: string, option: number, value: ArrayBuffer, level: number = Abi.SOL_XDP) =>
      ok(step, system.setOption(fd, level, option, value)),
    map: (
      undo: Resource.Undo,
      fd: number,
      step: string,
      offset: number,
      length: number,
      keeping?: Pool.PoolMappings["keeping"]
    ): Mapping => {
      const mapping = system.mapRing(fd, offset, length)
      if (typeof mapping === "number") throw refused(step, mapping, place)
      undo.push(() => {
        if (keeping?.kept !== true) system.unmap(mapping)
      })
      return mapping
    }
  }
}

const bindFlags = ({ mode, multiBuffer = false, needWakeup = true }: SocketOptions): number =>
  (needWakeup ? Abi.BindFlag.USE_NEED_WAKEUP : 0) | (multiBuffer ? Abi.BindFlag.USE_SG : 0) |
  (mode === "copy" ? Abi.BindFlag.COPY : mode === "zero-copy" ? Abi.BindFlag.ZEROCOPY : 0)

const build = (umem: Umem.Umem, options: SocketOptions, undo: Resource.Undo): Socket => {
  const { system } = umem
  const { busyPoll, completion = 2048, fill = 2048, netns, queue = 0, rx = 2048, tx = 2048, txBudget } = options
  const device = String(options.device)
  const place = { device, queue }
  const { map, ok, set } = stepsOf(system, place)
  if (umem.isClosed) throw new XskError({ reason: "Closed", step: "socket", ...place, detail: "its umem is closed" })

  const namespace = ok("open the network namespace", system.namespaceId(netns))
  const ifindex = typeof options.device === "number"
    ? options.device
    : ok("find the device", system.interfaceIndex(options.device, netns))
  const key = `${namespace}/${ifindex}/${queue}`
  const shared = umem.pools.get(key)
  const [other] = shared === undefined ? umem.bound : [...umem.bound].filter((each) => each.pool === shared)

  const fd = ok("socket", system.socket(netns))
  undo.push(() => system.close(fd))
  if (other === undefined) {
    set(fd, "register the umem", Abi.Option.UMEM_REG, Abi.umemRegistration(umem.registration))
  }
  if (shared === undefined) {
    set(fd, "make the fill ring", Abi.Option.FILL_RING, u32(fill))
    set(fd, "make the completion ring", Abi.Option.COMPLETION_RING, u32(completion))
  }
  if (rx > 0) set(fd, "make the rx ring", Abi.Option.RX_RING, u32(rx))
  if (tx > 0) set(fd, "make the tx ring", Abi.Option.TX_RING, u32(tx))
  if (txBudget !== undefined) set(fd, "set the budget", Abi.Option.MAX_TX_SKB_BUDGET, u32(txBudget))
  if (busyPoll !== undefined) {
    const { budget = 64, microseconds, prefer = true } = busyPoll
    const busy = (option: number, value: number) => set(fd, "set busy polling", option, u32(value), Abi.SOL_SOCKET)
    busy(Abi.BusyPollOption.PREFER_BUSY_POLL, prefer ? 1 : 0)
    busy(Abi.BusyPollOption.BUSY_POLL, microseconds)
    busy(Abi.BusyPollOption.BUSY_POLL_BUDGET, budget)
  }

  const told = ok(
    "ask where the rings are",
    system.getOption(fd, Abi.SOL_XDP, Abi.Option.MMAP_OFFSETS, Abi.MMAP_OFFSETS_SIZE)
  )
  const offsets = Abi.ringsOffsets(told)
  if (offsets === undefined) {
    const detail = `${told.length} bytes that make no sense`
    throw new XskError({ reason: "Unavailable", step: "ask where the rings are", ...place, detail })
  }
  const mapRing = (which: "rx" | "tx", offset: number, size: number) =>
    map(undo, fd, `map the ${which} ring`, offset, Ring.memorySize(offsets[which], size, Abi.DESCRIPTOR_SIZE))
  const rxMapping = rx > 0 ? mapRing("rx", Abi.PageOffset.RX, rx) : undefined
  const txMapping = tx > 0 ? mapRing("tx", Abi.PageOffset.TX, tx) : undefined
  const mapPool = (fillSize: number, completionSize: number): Pool.PoolMappings => {
    const keeping = { kept: false }
    const mapOne = (which: "fill" | "completion", offset: number, size: number) =>
      map(undo, fd, `map the ${which} ring`, offset, Ring.memorySize(offsets[which], size, Abi.ADDRESS_SIZE), keeping)
    const mapped = mapOne("fill", Abi.PageOffset.FILL, fillSize)
    return { fill: mapped, completion: mapOne("completion", Abi.PageOffset.COMPLETION, completionSize), keeping }
  }
  const bind = () =>
    ok(
      "bind",
      system.bind(
        fd,
        other === undefined
          ? Abi.socketAddress(bindFlags(options), ifindex, queue, 0)
          : Abi.socketAddress(Abi.BindFlag.SHARED_UMEM, ifindex, queue, other.fd)
      )
    )

  let pool: Pool.Pool
  let mappings: Pool.PoolMappings | undefined
  if (shared === undefined) {
    mappings = mapPool(fill, completion)
    bind()
    pool = {
      umem,
      key,
      device,
      queue,
      fill: Ring.producer(mappings.fill.buffer, offsets.fill, fill, "Addresses"),
      completion: Ring.consumer(mappings.completion.buffer, offsets.completion, completion, "Addresses"),
      wanted: 0,
      receiving: 0,
      sending: new Set(),
      mappings: [],
      broken: undefined
    }
    const made = pool
    pool.receiving = Umem.addHolder(umem, { kind: "Receive", pool, count: 0, isOver: false })
    umem.pools.set(key, pool)
    undo.push(() => dissolve(made))
  } else {
    // The queue's rings are another socket's until this one is bound; then they can be mapped from here as well.
    bind()
    pool = shared
    try {
      mappings = mapPool(shared.fill.size, shared.completion.size)
    } catch (thrown) {
      // Older kernels map nothing of a socket that is bound: then what the other one has mapped stays until all are closed.
      if (!isXskError(thrown) || thrown.errno !== "EBUSY") throw thrown
    }
  }
  return join(umem, options, undo, {
    fd,
    ifindex,
    pool,
    mappings,
    needWakeup: other?.needWakeup ?? options.needWakeup ?? true,
    multiBuffer: other?.multiBuffer ?? options.multiBuffer ?? false,
    rx: rxMapping === undefined ? undefined : Ring.consumer(rxMapping.buffer, offsets.rx, rx, "Descriptors"),
    tx: txMapping === undefined ? undefined : Ring.producer(txMapping.buffer, offsets.tx, tx, "Descriptors"),
    shares: other === undefined ? "nothing" : shared === undefined ? "memory" : "queue"
  })
}

/** What `build` has made, before others are told of it. */
interface Parts
  extends Pick<Socket, "fd" | "ifindex" | "pool" | "needWakeup" | "multiBuffer" | "rx" | "tx" | "shares">
{
  readonly mappings: Pool.PoolMappings | undefined
}

/** Makes a socket known to its queue and its memory, and gives the kernel frames to receive into. */
const join = (umem: Umem.Umem, options: SocketOptions, undo: Resource.Undo, parts: Parts): Socket => {
  const { fd, ifindex, mappings, multiBuffer, needWakeup, pool, rx, shares, tx } = parts
  const sending = Umem.addHolder(umem, { kind: "Send", pool, count: 0, isOver: false })
  pool.sending.add(sending)
  if (mappings !== undefined) pool.mappings.push(mappings)
  const bound: Umem.Bound = { fd, pool, needWakeup, multiBuffer }
  umem.bound.add(bound)
  const socket: Socket = {
    umem,
    fd,
    device: pool.device,
    ifindex,
    queue: pool.queue,
    pool,
    rx,
    tx,
    needWakeup,
    multiBuffer,
    sending,
    shares,
    broken: undefined,
    isClosed: false
  }
  if (rx !== undefined) {
    const most = Math.min(pool.fill.size, umem.frames)
    pool.wanted = Math.min(most, options.receiveFrames ?? Math.floor(umem.frames / 2))
    // What is wrong with the rings already is said when they are first used.
    Pool.refill(pool)
  }
  undo.push(() => close(socket, bound, mappings))
  return socket
}

/** Makes a socket on this memory, bound to a queue of a device, until the scope closes. */
export const make = (
  umem: Umem.Umem,
  options: SocketOptions
): Effect.Effect<Socket, XskError, Scope.Scope> =>
  Effect.suspend(() => {
    const wrong = check(options)
    if (wrong !== undefined) return Effect.fail(wrong)
    const until = performance.now() + (options.patience ?? 250)
    return Resource.make((undo) => build(umem, options, undo)).pipe(
      Effect.retry({
        schedule: Schedule.spaced("5 millis"),
        while: ({ errno, step }) => step === "bind" && errno === "EBUSY" && performance.now() < until
      })
    )
  })

/** What is wrong with a socket, if it cannot be used any more. */
export const fault = (socket: Socket, step: string): XskError | undefined =>
  socket.isClosed
    ? new XskError({ reason: "Closed", step, device: socket.device, queue: socket.queue })
    : socket.broken ?? socket.pool.broken

const ask = (socket: Socket, step: string, option: number, length: number, level = Abi.SOL_XDP) => {
  const wrong = fault(socket, step)
  if (wrong?.reason === "Closed") return Result.fail(wrong)
  const told = socket.umem.system.getOption(socket.fd, level, option, length)
  return typeof told === "number" ? Result.fail(refused(step, told, socket)) : Result.succeed(told)
}

/** What the kernel has counted for a socket. */
export const statistics = (socket: Socket): Result.Result<Abi.Statistics, XskError> =>
  Result.flatMap(ask(socket, "statistics", Abi.Option.STATISTICS, Abi.STATISTICS_SIZE), (bytes) => {
    const read = Abi.statistics(bytes)
    return read === undefined
      ? Result.fail(badArgument("statistics", `${bytes.length} bytes are too few`))
      : Result.succeed(read)
  })

/** Whether packets go from and to the device without being copied. */
export const isZeroCopy = (socket: Socket): Result.Result<boolean, XskError> =>
  Result.map(
    ask(socket, "options", Abi.Option.OPTIONS, 4),
    (bytes) => ((new Uint32Array(bytes.slice().buffer)[0] ?? 0) & Abi.OptionFlag.ZEROCOPY) !== 0
  )

const SO_ERROR = 4

/** The error that the kernel has left with a socket, once: the device is gone. */
export const pendingError = (socket: Socket): Result.Result<void, XskError> =>
  Result.flatMap(ask(socket, "look for errors", SO_ERROR, 4, Abi.SOL_SOCKET), (bytes) => {
    const errno = new Int32Array(bytes.slice().buffer)[0] ?? 0
    if (errno === 0) return Result.succeed(undefined)
    const { errno: name } = refused("socket", -errno)
    socket.broken ??= new XskError({
      reason: "DeviceGone",
      step: "wait",
      device: socket.device,
      queue: socket.queue,
      ...(name === undefined ? {} : { errno: name }),
      hint: "close the socket, and bind another when the device is back"
    })
    return Result.fail(socket.broken)
  })
