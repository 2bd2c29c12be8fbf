/**
 * `map`: maps of the kernel, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Fs from "node:fs"
import { Failed } from "./Failed.ts"
import { reporting } from "./Failure.ts"
import { elementJson } from "./json/ElementDocument.ts"
import { hexList, mapJson } from "./json/ObjectsDocument.ts"
import { peek, pop, push } from "./map/QueueCommands.ts"
import * as Verbs from "./map/Verbs.ts"
import * as Holders from "./objects/Holders.ts"
import { onKernel } from "./objects/OnKernel.ts"
import * as Pins from "./objects/Pins.ts"
import * as Output from "./Output.ts"
import { jsonText } from "./json/Json.ts"
import { elementsText, elementText, mapsText, nextKeyText } from "./text/MapsText.ts"
import { line, span } from "./text/Text.ts"

/** Imported when it is wanted: other verbs start without it. */
const pipeModules = Effect.promise(async () => ({
  ...(await import("./map/EventPipe.ts")),
  ...(await import("./json/PipeDocument.ts")),
  ...(await import("./text/PipeText.ts"))
}))

/** An effect with the services that it needs, for where they are not. */
const later = <R>(effect: Effect.Effect<void, never, R>) =>
  Effect.map(Effect.context<R>(), (context) => Effect.provideContext(effect, context))

const words = (description: string) =>
  Argument.String("words").pipe(Argument.withDescription(description), Argument.variadic())

const map = "the map: id N, pinned FILE or name NAME"

const key = Flag.String("key").pipe(
  Flag.withMetavar("JSON"),
  Flag.withDescription("The key by the map's types, in place of key BYTES: a number, a name of an enum, JSON"),
  Flag.optional
)

const value = Flag.String("value").pipe(
  Flag.withMetavar("JSON"),
  Flag.withDescription("The value by the map's types, in place of value BYTES; of a per-CPU map for all CPUs"),
  Flag.optional
)

const values = Flag.String("values").pipe(
  Flag.withMetavar("JSON"),
  Flag.withDescription("The values of a per-CPU map: a list with one for each possible CPU"),
  Flag.optional
)

const show = (name: "show" | "list") =>
  Command.make(
    name,
    { words: words(`${map}; all maps without it`), bpffs: Pins.flag },
    ({ bpffs, words }) =>
      reporting(Effect.gen(function*() {
        const { all, holders, maps, pins } = yield* onKernel((objects) =>
          Effect.gen(function*() {
            // Before this process opens any itself.
            const holders = Holders.find("Map")
            const shown = yield* Verbs.show(objects, words)
            return {
              ...shown,
              holders,
              pins: bpffs ? yield* Pins.find(objects, "Map") : new Map<number, Array<string>>()
            }
          })
        )
        yield* Output.result(
          () => {
            const documents = maps.map((map) => mapJson(map, pins.get(map.info.id), holders.get(map.info.id)))
            const [only] = documents
            return !all && only !== undefined && documents.length === 1 ? only : documents
          },
          () => mapsText(maps, pins, holders)
        )
      }))
  ).pipe(
    Command.withDescription("Show the maps of the kernel, or one of them. All needs root, or CAP_SYS_ADMIN."),
    Command.withShortDescription(name === "show" ? "Show maps" : "The same as show"),
    Command.withExamples([
      { command: `effect-bpf map ${name}` },
      { command: `effect-bpf map ${name} pinned /sys/fs/bpf/stats` }
    ])
  )

const dump = Command.make("dump", { words: words(map) }, ({ words }) =>
  reporting(Effect.gen(function*() {
    const dumped = yield* onKernel((objects) => Verbs.dump(objects, words))
    yield* Output.result(
      () => dumped.elements.map((element) => elementJson(dumped.shape, element)),
      () => elementsText(dumped.shape, dumped)
    )
    if (dumped.aborted) {
      yield* Output.message([
        line(span("warning", "note: others changed the map meanwhile: elements may be missing"))
      ])
    }
  }))).pipe(
    Command.withDescription(
      "Show all elements of a map, by its types where it has some. Rings and queues show nothing: reading takes out."
    ),
    Command.withShortDescription("Show all elements of a map"),
    Command.withExamples([
      { command: "effect-bpf map dump name stats" },
      { command: "effect-bpf map dump pinned /sys/fs/bpf/stats --json", description: "Bytes, and what they are" }
    ])
  )

/** What was not found is said already, and no failure of the work: only the exit status tells. */
const foundOrFailed = (found: boolean): Effect.Effect<void, Failed> =>
  found ? Effect.void : Effect.fail(new Failed({ status: 1 }))

const lookup = Command.make(
  "lookup",
  { words: words(`${map}; then key BYTES`), key },
  ({ key, words }) =>
    reporting(Effect.gen(function*() {
      const found = yield* onKernel((objects) => Verbs.lookup(objects, words, { ...Verbs.noJson, key }))
      const element = found.value === undefined ? undefined : { key: found.key, value: found.value }
      yield* Output.result(
        () => element === undefined ? null : elementJson(found.shape, element),
        () => element === undefined ? [line("not found")] : elementText(found.shape, element)
      )
      return element !== undefined
    })).pipe(Effect.flatMap(foundOrFailed))
).pipe(
  Command.withDescription(
    "Show the value of a key. Exit status 1 where the map has no such key; in JSON that is null."
  ),
  Command.withShortDescription("Show the value of a key"),
  Command.withExamples([
    { command: "effect-bpf map lookup name stats key 0x06 0x00 0x00 0x00" },
    { command: "effect-bpf map lookup name stats --key PROTOCOL_TCP", description: "By the map's types" }
  ])
)

const getnext = Command.make(
  "getnext",
  { words: words(`${map}; then key BYTES, or nothing for the first key`), key },
  ({ key, words }) =>
    reporting(Effect.gen(function*() {
      const found = yield* onKernel((objects) => Verbs.getNext(objects, words, { ...Verbs.noJson, key }))
      const { next } = found
      if (next === undefined) {
        yield* Output.result(() => null, () => [line("no more keys")])
        return false
      }
      yield* Output.result(
        () => ({ key: found.key === undefined ? null : hexList(found.key), next_key: hexList(next) }),
        () => nextKeyText(found.shape, next)
      )
      return true
    })).pipe(Effect.flatMap(foundOrFailed))
).pipe(
  Command.withDescription("Show the key behind a key, or the first. Exit status 1 where there is none."),
  Command.withShortDescription("Show the next key")
)

const update = Command.make(
  "update",
  { words: words(`${map}; then key BYTES value BYTES, and any, noexist or exist`), key, value, values },
  ({ key, value, values, words }) =>
    reporting(Effect.gen(function*() {
      yield* onKernel((objects) => Verbs.update(objects, words, { key, value, values }))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription(
    "Set an element. Bytes are numbers as C writes them, or behind hex two digits each; --key and --value give JSON, which\n" +
      "  the map's types make bytes of. The value of a map of maps is a map, of a program array a program: id, pinned or name."
  ),
  Command.withShortDescription("Set an element"),
  Command.withExamples([
    { command: "effect-bpf map update name ports key 1 0 0 0 value hex bb 01 noexist" },
    {
      command: "effect-bpf map update name stats --key PROTOCOL_TCP --value '{\"packets\": 1}'",
      description: "What is not said is zero"
    },
    { command: "effect-bpf map update name jumps key 0 0 0 0 value pinned /sys/fs/bpf/next" }
  ])
)

const remove = Command.make(
  "delete",
  { words: words(`${map}; then key BYTES`), key },
  ({ key, words }) =>
    reporting(Effect.gen(function*() {
      yield* onKernel((objects) => Verbs.remove(objects, words, { ...Verbs.noJson, key }))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription("Remove an element; it fails where the map has no such key."),
  Command.withShortDescription("Remove an element")
)

/** The number of a network device, as the kernel shows it. */
const deviceOf = (name: string): number | undefined => {
  if (name.includes("/") || name === "." || name === "..") return undefined
  try {
    return Number(Fs.readFileSync(`/sys/class/net/${name}/ifindex`, "utf8"))
  } catch {
    return undefined
  }
}

const create = Command.make(
  "create",
  { words: words("PATH type TYPE key SIZE value SIZE entries N name NAME [flags N] [inner_map MAP] [dev NAME]") },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      yield* onKernel((objects) => Verbs.create(objects, words, deviceOf))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription(
    "Make a map and pin it. Sizes are bytes; types are those of bpftool. The map has no types: objects bring those."
  ),
  Command.withShortDescription("Make a map and pin it"),
  Command.withExamples([
    { command: "effect-bpf map create /sys/fs/bpf/ports type hash key 2 value 8 entries 1024 name ports" },
    {
      command: "effect-bpf map create /sys/fs/bpf/sets type hash_of_maps key 4 value 4 entries 8 name sets " +
        "inner_map pinned /sys/fs/bpf/ports"
    }
  ])
)

const pin = Command.make(
  "pin",
  { words: words(`${map}; then the path of the new pin`) },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      yield* onKernel((objects) => Verbs.pin(objects, words))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription("Give a map a name in a bpf file system, which keeps it and its elements."),
  Command.withShortDescription("Give a map a name"),
  Command.withExamples([{ command: "effect-bpf map pin name stats /sys/fs/bpf/stats" }])
)

const freeze = Command.make("freeze", { words: words(map) }, ({ words }) =>
  reporting(Effect.gen(function*() {
    yield* onKernel((objects) => Verbs.freeze(objects, words))
    yield* Output.result(() => null, () => [])
  }))).pipe(
    Command.withDescription("Make a map read-only for user space, for good. Programs write to it as before."),
    Command.withShortDescription("Make a map read-only for user space"),
    Command.withExamples([{ command: "effect-bpf map freeze name settings" }])
  )

const eventPipe = Command.make(
  "event_pipe",
  { words: words(`${map}, a perf_event_array; then cpu N index N, or nothing for all CPUs`) },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      const { pipeJson, pipeText, read } = yield* pipeModules
      const mode = yield* Output.jsonMode
      const begun = mode === "text"
        ? yield* later(Output.message([line(span("dim", "until interrupted: Ctrl-C"))]))
        : Effect.void
      yield* onKernel((objects) =>
        read(objects, words, begun, (items) =>
          mode === "text"
            ? Output.print(items.flatMap(pipeText))
            : Output.lines(items.map((item) => jsonText(pipeJson(item), mode === "pretty").trimEnd())))
      )
    }))
).pipe(
  Command.withDescription(
    "Show what programs send to a perf buffer, until interrupted: each record with its CPU and its bytes, and what was lost.\n" +
      "  With --json each line is a document. Whoever else reads the buffer gets nothing meanwhile."
  ),
  Command.withShortDescription("Show what programs send to a perf buffer"),
  Command.withExamples([
    { command: "effect-bpf map event_pipe name samples" },
    { command: "effect-bpf map event_pipe pinned /sys/fs/bpf/samples cpu 0 index 0 --json" }
  ])
)

/** The command with its verbs. */
export const mapCommand = Command.make("map").pipe(
  Command.withDescription(
    "Maps of the kernel of this machine, with bpftool's words and JSON keys. A map is id N, pinned FILE or name NAME."
  ),
  Command.withShortDescription(
    "Maps of the kernel: show, dump, lookup, update, delete, push, pop, peek, create, pin, freeze, event_pipe"
  ),
  Command.withSubcommands([
    show("show"),
    show("list"),
    dump,
    lookup,
    getnext,
    update,
    remove,
    push("push"),
    push("enqueue"),
    pop("pop"),
    pop("dequeue"),
    peek,
    create,
    pin,
    freeze,
    eventPipe
  ])
)
