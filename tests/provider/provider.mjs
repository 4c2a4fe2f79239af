// An identity provider with everything that OpenBao's own has not: a login from another device, and
// a person who says no. Started with the directory it is installed in; says its port on standard
// output, and ends with standard input.

import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const library = `${process.argv[2]}/node_modules/oidc-provider/lib/index.js`;
const { default: Provider } = await import(pathToFileURL(library));

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://localhost:${server.address().port}`;
  const client = {
    client_secret: 'not-a-secret-of-anybody',
    token_endpoint_auth_method: 'client_secret_post',
    redirect_uris: ['http://localhost:8250/oidc/callback'],
    // For loopback any port will do, as it is for OpenBao.
    application_type: 'native',
    grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
  };
  const provider = new Provider(issuer, {
    clients: ['vctl', 'vctl-code', 'vctl-brief', 'vctl-slow'].map((id) => ({ client_id: id, ...client })),
    features: { deviceFlow: { enabled: true } },
    // As with GitLab: the groups in the ID token, who it is at the userinfo endpoint.
    claims: { openid: ['sub', 'groups_direct'], profile: ['preferred_username'], email: ['email'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        preferred_username: id,
        email: `${id}@example.net`,
        groups_direct: ['sre/vctl-ssh-users'],
      }),
    }),
    ttl: { DeviceCode: (_, __, { clientId }) => (clientId === 'vctl-brief' ? 2 : 600) },
  });
  const polls = [];
  provider.use(async (ctx, next) => {
    await next();
    const id = ctx.oidc?.client?.clientId;
    if (ctx.oidc?.route === 'device_authorization' && id === 'vctl-code') {
      // A provider need not have an address with the code in it.
      delete ctx.body.verification_uri_complete;
    }
    if (ctx.oidc?.route === 'token' && id === 'vctl-slow') {
      polls.push(Date.now());
      if (polls.length === 1) ctx.body = { error: 'slow_down' };
      console.log(`polled ${polls.length} ${polls.at(-1) - (polls.at(-2) ?? polls.at(-1))}`);
    }
  });
  server.on('request', provider.callback());
  console.log(`listening ${issuer}`);
});
process.stdin.on('end', () => process.exit()).resume();
