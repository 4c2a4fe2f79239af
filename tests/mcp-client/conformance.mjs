// The official conformance suite against `vctl mcp`.
//
// The suite tests servers over HTTP alone, so a bridge forwards each message between HTTP and standard input and output
// of `vctl mcp`, unchanged except for the names of three tools that the suite expects.
//
// Arguments: the folder of the packages, vctl, a host, the file of expected failures, a folder for the results.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [packages, vctl, host, expected, results] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const sdk = (path) => import(require.resolve(`@modelcontextprotocol/sdk/${path}.js`));
const { StdioClientTransport } = await sdk("client/stdio");
const { StreamableHTTPServerTransport } = await sdk("server/streamableHttp");

const tools = {
  test_simple_text: ["vctl_whoami", {}],
  test_error_handling: ["vctl_ssh_exec", { host: "no-such-host", command: "true" }],
  test_tool_with_progress: ["vctl_ssh_exec", { host, command: "sleep 3.5" }],
};

const connect = async () => {
  const server = new StdioClientTransport({ command: vctl, args: ["mcp"], env: { ...process.env } });
  const client = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, client),
  });
  // The request whose stream carries a progress notification.
  const requests = new Map();
  server.onmessage = (message) => {
    const relatedRequestId = requests.get(message.params?.progressToken);
    client.send(message, { relatedRequestId }).catch(() => {});
  };
  client.onmessage = (message) => {
    const { params, id } = message;
    const token = params?._meta?.progressToken;
    if (token !== undefined) requests.set(token, id);
    if (message.method === "tools/call" && params.name in tools) {
      [params.name, params.arguments] = tools[params.name];
    }
    server.send(message);
  };
  client.onclose = () => server.close();
  await server.start();
  await client.start();
  return client;
};

const sessions = new Map();
const bridge = createServer(async (request, response) => {
  const id = request.headers["mcp-session-id"];
  const client = id ? sessions.get(id) : await connect();
  if (!client) return response.writeHead(404).end();
  await client.handleRequest(request, response);
});
bridge.listen(0, "127.0.0.1", () => {
  // Node 20 has no `globSync`, which only another command of the suite uses.
  const fs = `export * from "node:fs"; export { default } from "node:fs"; export const globSync = undefined;`;
  const hook = `export const resolve = (name, context, next) =>
    name === "fs" && context.parentURL?.includes("/conformance/dist/")
      ? { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(fs)}`)}, shortCircuit: true }
      : next(name, context);`;
  const register = `import { register } from "node:module";
    register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});`;
  const suite = spawn(
    process.execPath,
    [
      "--import", `data:text/javascript,${encodeURIComponent(register)}`,
      `${packages}/node_modules/@modelcontextprotocol/conformance/dist/index.js`,
      "server", "--url", `http://127.0.0.1:${bridge.address().port}/mcp`,
      "--expected-failures", expected, "--output-dir", results,
    ],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  suite.on("close", (code) => process.exit(code ?? 1));
});
