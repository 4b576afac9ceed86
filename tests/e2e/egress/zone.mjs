/* Who is who on the internet of the tests. Public addresses, used in namespaces that lead nowhere else. */
export const RESOLVER = '9.9.9.9';
export const WEB = '93.184.216.34';
export const OTHER = '93.184.216.35';
export const WEB6 = '2606:2800:220:1::1';
export const PRIVATE = '10.1.2.3';
export const METADATA = '169.254.169.254';
export const GATEWAY = '172.31.0.2'; /* of the host that bermd runs on */
export const HOST = '172.31.0.1';

export const ADDRESSES = [RESOLVER, WEB, OTHER, PRIVATE, METADATA, '100.64.0.9', WEB6, 'fd00:ec2::254', 'fd12::1'];

export const ZONE = {
  'web.test': [WEB, WEB6],
  'other.test': [OTHER],
  'registry.test': [OTHER],
  'a.sub.test': [OTHER],
  'untrusted.test': [OTHER],
  'wrong.test': [OTHER],
  'rebind.test': [PRIVATE],
  'mixed.test': [PRIVATE, WEB],
  'metadata.test': [METADATA],
  'host.test': [HOST],
  'loop.test': ['127.0.0.1'],
};
