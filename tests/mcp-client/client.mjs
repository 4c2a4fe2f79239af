// A client of `vctl mcp` with the official TypeScript SDK. It checks each result against the schema of its tool.
//
// Arguments: the folder of the packages, vctl, a host. Prints one JSON object.
import { createRequire } from "node:module";

const [packages, vctl, host] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const sdk = (path) => import(require.resolve(`@modelcontextprotocol/sdk/client/${path}.js`));
const { Client } = await sdk("index");
const { StdioClientTransport } = await sdk("stdio");

const client = new Client({ name: "typescript-sdk", version: "1.32.2" });
await client.connect(new StdioClientTransport({ command: vctl, args: ["mcp"], env: { ...process.env } }));

// Before a call, the SDK needs the schemas.
const { tools } = await client.listTools();
const results = {};
const call = async (name, args, options) => {
  const params = { name, arguments: args };
  const { isError, structuredContent, content } = await client.callTool(params, undefined, options);
  results[name] = isError ? { error: content[0].text } : structuredContent;
};
await call("vctl_list", {});
await call("vctl_resolve", { query: host });
await call("vctl_whoami", {});
await call("vctl_access_log", { host });
await call("vctl_session", { host });
let progress = 0;
const onprogress = () => { progress += 1; };
await call("vctl_ssh_exec", { host, command: "seq 1 20000; sleep 1.5" }, { onprogress });
const { output_id, stdout_next_offset: offset } = results.vctl_ssh_exec;
await call("vctl_output", { output_id, offset });

const abort = new AbortController();
const running = client.callTool(
  { name: "vctl_ssh_exec", arguments: { host, command: "sleep 60" } }, undefined,
  { signal: abort.signal, onprogress: () => abort.abort("enough") },
);
await running.catch(() => {});
await client.ping();
await client.close();
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), results, progress }));
